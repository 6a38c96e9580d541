"""The HTTP endpoint, its database and the dispatcher that carries out what was submitted."""
