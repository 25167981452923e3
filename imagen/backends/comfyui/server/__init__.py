"""The ComfyUI server's HTTP API and websocket."""
