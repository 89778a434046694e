"""What `eventbus.config` is made of; import from there."""
