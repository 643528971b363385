"""
What a resource of each kind looks like: its fields and their one normal form.

The model (which reads YAML) and the drivers (which read servers) never meet; they agree because both write
resources through these files. No I/O here.
"""
