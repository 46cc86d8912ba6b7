"""The edge where settings come in: strict models, one YAML file, secrets from outside it. Imports nothing else of ours."""
