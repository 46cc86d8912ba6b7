"""The language model as a forecaster: digits in, digits out, and nothing else can be said."""
