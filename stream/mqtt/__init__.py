"""One connection to an MQTT broker, as sources, sinks and the topic of commands use it."""
