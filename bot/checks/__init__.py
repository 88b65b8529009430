"""What `python -m bot doctor` looks at: one module for each thing that can be amiss."""
