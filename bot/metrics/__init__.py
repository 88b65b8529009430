"""What can be measured of a running bot, and whether it is well, for Prometheus and for probes."""
