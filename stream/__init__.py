"""Everything that waits: sources, windows in motion, the pipeline, the journal, sinks."""
