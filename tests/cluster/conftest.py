"""A small checkout, as the doctor examines it."""

from tests.doctor.conftest import root as root
