"""Pure decisions: samples in, forecasts, verdicts and alerts out. No sockets, no event loop, no clock of its own."""
