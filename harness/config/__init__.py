"""What is run: YAML under `experiments/` and `params.yaml`, read into checked dataclasses and resolved."""
