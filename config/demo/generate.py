#!/usr/bin/env python3
"""Writes the demo's log: one hour of a VeoGen backend, as its JSON formatter logs to stdout.

    python3 config/demo/generate.py > config/demo/veogen.log

The same bytes on every run and machine: the numbers come from random.random() with a seed, which
Python keeps stable, and from plain arithmetic.
"""

import json
import random
import sys
import uuid
from datetime import datetime, timedelta, timezone

START = datetime(2026, 1, 15, 9, 0, 0, tzinfo=timezone.utc)
REQUESTS = 700
SECONDS = 3480.0  # arrivals; the slowest request still ends within the hour

rng = random.Random(20260115)


def pick(items):
    return items[int(rng.random() * len(items))]


def between(low, high):
    return low + (high - low) * rng.random()


def new_id():
    number = 0
    for _ in range(8):
        number = number << 16 | int(rng.random() * 65536)
    return str(uuid.UUID(int=number, version=4))


AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_7) AppleWebKit/605.1.15 Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
    "VeoGen-iOS/2.4.1 (iPhone16,2; iOS 18.1)",
    "python-httpx/0.28.1",
]
PROMPTS = [
    "A lighthouse in a storm, slow aerial shot",
    "Timelapse of a city at dawn, 35mm, \"golden hour\"",
    "Ein Café in Zürich im Regen, Kamerafahrt",
    "雨の京都、石畳の路地",
    "Paper boats on a mirror lake 🚤 in macro",
    "A chef plating ramen\nclose-up, steam, shallow focus",
]
USERS = [
    {"id": f"user_{n:05d}", "ip": f"{pick(['203.0.113', '198.51.100'])}.{1 + int(rng.random() * 250)}",
     "agent": pick(AGENTS)}
    for n in [17, 42, 108, 256, 391, 512, 777, 1024, 1337, 2048, 2718, 3141, 4096, 5555, 6174, 8128]
]

ROUTES = [  # weight, method, path, logger, action, seconds
    (24, "GET", "/api/v1/videos/{video}/status", "app.api.v1.videos", None, 0.02),
    (14, "POST", "/api/v1/videos/generate", "app.api.v1.videos", "generate_video", 0.9),
    (12, "GET", "/api/v1/videos?page={page}&size=20", "app.api.v1.videos", "list_videos", 0.06),
    (10, "GET", "/api/v1/videos/{video}/download", "app.api.v1.videos", "download_video", 1.8),
    (8, "GET", "/api/v1/gallery?sort=recent", "app.api.v1.gallery", None, 0.05),
    (7, "POST", "/api/v1/auth/login", "app.api.v1.auth", "login", 0.2),
    (6, "GET", "/api/v1/users/me", "app.api.v1.users", None, 0.01),
    (5, "PATCH", "/api/v1/users/me/settings", "app.api.v1.users", "update_settings", 0.04),
    (4, "POST", "/api/v1/videos/{video}/share", "app.api.v1.videos", "share_video", 0.08),
    (3, "DELETE", "/api/v1/videos/{video}", "app.api.v1.videos", "delete_video", 0.07),
]

FAILURES = [  # type, message, file, line, function, code
    ("TimeoutError", "Veo API did not answer within 30.0 s", "services/veo.py", 118, "submit",
     "response = await self._client.post(self._url, json=payload, timeout=30.0)"),
    ("ConnectionError", "Error 111 connecting to redis:6379. Connection refused.", "services/queue.py", 57,
     "enqueue", "await self._redis.rpush(QUEUE, job.model_dump_json())"),
    ("QuotaExceededError", "quota \"videos_per_day\" is used up: 50 of 50", "services/quota.py", 33, "check",
     "raise QuotaExceededError(name, used, limit)"),
    ("IntegrityError", "(psycopg.errors.UniqueViolation) duplicate key value violates unique constraint "
     "\"videos_pkey\"\nDETAIL:  Key (id) already exists.", "db/videos.py", 204, "insert",
     "await session.execute(insert(Video).values(**fields))"),
    ("FileNotFoundError", "[Errno 2] No such file or directory: '/data/renders/part-0003.mp4'",
     "services/storage.py", 91, "open_render", "return path.open('rb')"),
]


def traceback(failure, route):
    kind, text, file, line, function, code = failure
    module = route[3].replace(".", "/")
    return (
        "Traceback (most recent call last):\n"
        "  File \"/app/app/middleware/logging.py\", line 41, in logging_middleware\n"
        "    response = await call_next(request)\n"
        "               ^^^^^^^^^^^^^^^^^^^^^^^^\n"
        f"  File \"/app/{module}.py\", line {60 + len(route[2])}, in endpoint\n"
        "    result = await service.run(request_in, user)\n"
        "             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        f"  File \"/app/app/{file}\", line {line}, in {function}\n"
        f"    {code}\n"
        f"{kind}: {text}"
    )


def route_of():
    rest = rng.random() * sum(route[0] for route in ROUTES)
    for route in ROUTES:
        rest -= route[0]
        if rest < 0:
            return route
    return ROUTES[0]


def request(at, lines):
    """All lines of one request that arrives `at` seconds after START."""
    route, user, video = route_of(), pick(USERS), "vid_" + new_id()[:8]
    _, method, path, module, action, typical = route
    known = action != "login"
    ids = {"request_id": new_id(), "trace_id": new_id()}

    def log(after, level, logger, message, **fields):
        who = {"user_id": user["id"]} if known or fields.get("event_type") == "user_action" else {}
        stamp = (START + timedelta(microseconds=round((at + after) * 1e6)))
        head = {"timestamp": stamp.isoformat(timespec="microseconds"), "level": level, "logger": logger,
                "message": message}
        kind = {"event_type": fields.pop("event_type")} if "event_type" in fields else {}
        lines.append((at + after, len(lines), json.dumps({**head, **kind, **ids, **who, **fields})))

    luck = rng.random()
    square = luck * luck
    duration = round(typical * (0.4 + 1.2 * square + 6.0 * square * square * square), 6)
    url = "https://veogen.example" + path.format(video=video, page=1 + int(rng.random() * 9))
    middleware = "app.middleware.logging"
    log(0, "INFO", middleware, "Request started", event_type="request_start", method=method, url=url,
        user_agent=user["agent"], ip_address=user["ip"])
    if rng.random() < 0.25:
        log(duration * 0.1, "DEBUG", "app.cache", "cache " + pick(["hit", "miss"]), key=f"{module}:{video}")
    if action and rng.random() < 0.9:
        extra = {"prompt": pick(PROMPTS), "seconds": pick([4, 6, 8]), "model": "veo-3"} \
            if action == "generate_video" else {}
        log(duration * 0.3, "INFO", module, f"User action: {action}", event_type="user_action", action=action,
            **extra)
    if action == "generate_video":
        log(duration * 0.6, "INFO", "app.services.veo", "Generation queued", video_id=video,
            queue_depth=int(rng.random() * 40))
    if rng.random() < 0.04:
        log(duration * 0.7, "WARNING", "app.db.pool", "Slow query", seconds=round(between(0.5, 2.5), 3),
            statement="SELECT * FROM videos WHERE owner = $1 ORDER BY created_at DESC LIMIT 20")
    if rng.random() < 0.06:
        failure = pick(FAILURES)
        exc_info = traceback(failure, route)
        context = {"video_id": video, "attempt": 1 + int(rng.random() * 3),
                   "limits": {"seconds": 8, "retries": None}, "tags": ["render", method.lower()]}
        log(duration * 0.9, "ERROR", module, f"Error occurred: {failure[1]}", event_type="error",
            error_type=failure[0], error_message=failure[1], context=context, exc_info=exc_info)
        log(duration, "ERROR", middleware, "Request failed", event_type="request_error", error=failure[1],
            duration=duration, exc_info=exc_info)
        return
    status = pick([200] * 12 + [404, 401 if action == "login" else 422]) if method == "GET" or action == "login" \
        else pick([201] * 14 + [422, 409, 429])
    log(duration, "INFO", middleware, "Request completed", event_type="request_end", status_code=status,
        duration=duration)


def main():
    lines = []
    for number in range(REQUESTS):
        # Two of three requests come in bursts, so that their lines interleave.
        at = SECONDS * (number // 3 * 3) / REQUESTS + between(0.0, 1.5) + 2.0
        request(at, lines)
    for at in (811.25, 2650.5):
        lines.append((at, len(lines), "WARNING:  Invalid HTTP request received."))
    lines.sort()
    for text in ("Started server process [1]", "Waiting for application startup.",
                 "Application startup complete.",
                 "Uvicorn running on http://0.0.0.0:8000 (Press CTRL+C to quit)"):
        print("INFO:     " + text)
    for _, _, line in lines:
        print(line)
    for text in ("Shutting down", "Waiting for application shutdown.", "Application shutdown complete.",
                 "Finished server process [1]"):
        print("INFO:     " + text)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    main()
