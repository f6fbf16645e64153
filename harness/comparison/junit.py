"""Verdicts as JUnit XML, for CI."""

import re
import xml.etree.ElementTree as ET

import pandas as pd

from harness.comparison import words

NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Return text without the characters that no XML document may hold."""
    return NOT_XML.sub("\ufffd", text)


def junit(found: pd.DataFrame) -> str:
    """Return JUnit XML: a suite per kind of comparison; verdicts that decide nothing are skipped cases."""
    root = ET.Element("testsuites", name="harness check")
    for kind, part in found.groupby("kind", sort=False):
        passed, failed = (int((part["status"] == status).sum()) for status in ("pass", "fail"))
        counts = {"tests": len(part), "failures": failed, "errors": 0, "skipped": len(part) - passed - failed}
        suite = ET.SubElement(root, "testsuite", name=str(kind), attrib={k: str(v) for k, v in counts.items()})
        for line in part.to_dict("records"):
            name = clean(f"{words.row_name(line)}: {words.score_name(line)}")
            case = ET.SubElement(suite, "testcase", classname=clean(f"{kind}.{line['experiment']}"), name=name)
            if line["status"] == "fail":
                ET.SubElement(case, "failure", message=clean(words.outcome(line)))
            elif line["status"] != "pass":
                why = line["reason"] if isinstance(line["reason"], str) else ""
                ET.SubElement(case, "skipped", message=clean(f"{words.outcome(line)}. {why}".rstrip(". ")))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"
