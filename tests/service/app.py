"""A small backend that logs as VeoGen's does: structured JSON lines on stdout, with the request's
context in contextvars, a middleware around every request, and helpers for actions and errors."""

import json
import logging
import sys
import time
import uuid
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any

from fastapi import FastAPI, HTTPException, Request

request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)
user_id_var: ContextVar[str | None] = ContextVar("user_id", default=None)
trace_id_var: ContextVar[str | None] = ContextVar("trace_id", default=None)

EXTRA = (
    "event_type method url user_agent ip_address status_code duration action error error_type "
    "error_message context prompt"
).split()


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a traceback is a string in it."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id_var.get(),
            "user_id": user_id_var.get(),
            "trace_id": trace_id_var.get(),
        }
        line |= {name: getattr(record, name) for name in EXTRA if hasattr(record, name)}
        if record.exc_info:
            line["exc_info"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(JsonFormatter())
logging.basicConfig(level=logging.INFO, handlers=[handler])
logger = logging.getLogger("veogen.backend")


def log_user_action(action: str, **fields: Any) -> None:
    logger.info("User action: %s", action, extra={"event_type": "user_action", "action": action, **fields})


def log_error_with_context(error: Exception, context: dict[str, Any] | None = None) -> None:
    logger.error(
        "Error occurred: %s",
        error,
        extra={
            "event_type": "error",
            "error_type": type(error).__name__,
            "error_message": str(error),
            "context": context or {},
        },
        exc_info=True,
    )


app = FastAPI()


@app.middleware("http")
async def log_requests(request: Request, call_next):
    request_id = request.headers.get("x-request-id", str(uuid.uuid4()))
    request_id_var.set(request_id)
    trace_id_var.set(str(uuid.uuid4()))
    user_id_var.set(request.headers.get("x-user-id"))
    logger.info(
        "Request started",
        extra={
            "event_type": "request_start",
            "method": request.method,
            "url": str(request.url),
            "user_agent": request.headers.get("user-agent"),
            "ip_address": request.client.host if request.client else None,
        },
    )
    start = time.time()
    try:
        response = await call_next(request)
    except Exception as error:
        logger.error(
            "Request failed",
            extra={"event_type": "request_error", "error": str(error), "duration": time.time() - start},
            exc_info=True,
        )
        raise
    logger.info(
        "Request completed",
        extra={
            "event_type": "request_end",
            "status_code": response.status_code,
            "duration": time.time() - start,
        },
    )
    return response


@app.get("/videos/{video}")
async def video(video: int) -> dict[str, int]:
    if video == 404:
        raise HTTPException(status_code=404, detail="no such video")
    return {"video": video}


@app.post("/videos")
async def generate(request: Request) -> dict[str, str]:
    prompt = (await request.body()).decode()
    log_user_action("generate_video", prompt=prompt)
    try:
        if "bad" in prompt:
            raise ValueError(f"the model refuses “{prompt}”\nand says why: 猫")
    except ValueError as error:
        log_error_with_context(error, {"prompt": prompt, "attempt": 1})
        return {"state": "refused"}
    return {"state": "queued"}


@app.get("/crash")
async def crash() -> None:
    raise RuntimeError('worker "gpu-1" is gone\n\tnobody knows where')
