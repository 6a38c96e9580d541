"""``python -m spinml.loadtest.bare CONFIG.json PORT``: the service's application, without Serve."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from spinml import logs
from spinml.config import ServerConfig
from spinml.service.app import create_app
from spinml.service.state import ServiceState


def main(config_file: str, port: str) -> None:
    """Serve until killed."""
    config = ServerConfig.model_validate_json(Path(config_file).read_text())
    logs.configure(config.logs.level, config.logs.format)
    app = create_app(ServiceState.from_config(config))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
