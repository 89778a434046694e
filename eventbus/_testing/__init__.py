"""What `eventbus.testing` is made of: nobody imports this."""
