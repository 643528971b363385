"""Mail on a running mail server: what the command line says, and what people then notice."""
