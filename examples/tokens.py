#!/usr/bin/python3
"""A token endpoint in FastAPI: a person logs in with a password, the page asks for a token, PostOffice verifies the token.

    pip install fastapi uvicorn pyjwt itsdangerous    (Debian: python3-fastapi python3-uvicorn python3-jwt python3-itsdangerous)
    tokens.py hash                        reads a password, prints its line for users.json
    tokens.py users.json keys/web.secret  serves on 127.0.0.1:8080

users.json is {"alice": "SALT:HASH", …}. The key is the server's own (websocket-server keygen --kty hmac; config: auth.keyDir), and
its name without .secret is the `kid`. Put TLS and a limit of attempts in front, as in front of any login."""
import base64
import hashlib
import hmac
import json
import pathlib
import secrets
import sys
import time

import jwt
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.middleware.sessions import SessionMiddleware

TOKEN_SECONDS = 300  # the client library asks for the next token before this one ends
LOGIN_SECONDS = 12 * 3600


def digest(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode(), salt=salt.encode(), n=16384, r=8, p=1, dklen=32).hex()


class Login(BaseModel):
    user: str
    password: str


def application(users: dict, key: bytes, kid: str) -> FastAPI:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret_key=secrets.token_hex(), session_cookie="login",
                       same_site="strict", max_age=LOGIN_SECONDS)

    @app.post("/login")
    def login(body: Login, request: Request):
        salt, wanted = users.get(body.user, "none:none").split(":")  # who does not exist costs as much time
        if not hmac.compare_digest(digest(body.password, salt), wanted):
            raise HTTPException(401, "wrong name or password")
        request.session["user"] = body.user
        return {"user": body.user}

    @app.post("/token")
    def token(request: Request, answer: Response):
        if "user" not in request.session:
            raise HTTPException(401, "log in first")
        now = int(time.time())
        claims = {"sub": request.session["user"], "iat": now, "exp": now + TOKEN_SECONDS, "jti": secrets.token_urlsafe(9),
                  "po": {"send": ["*"], "groups": ["#room/*"]}}  # whom the user may write to, and which groups are open
        answer.headers["Cache-Control"] = "no-store"
        return {"token": jwt.encode(claims, key, algorithm="HS256", headers={"kid": kid})}

    @app.get("/chat.html")
    def chat():
        return FileResponse(pathlib.Path(__file__).with_name("chat.html"))

    app.mount("/postoffice", StaticFiles(directory=pathlib.Path(__file__).parents[1] / "clients/js/src"))
    return app


if __name__ == "__main__":
    if sys.argv[1] == "hash":
        salt = secrets.token_hex(16)
        print(salt + ":" + digest(sys.stdin.read().rstrip("\n"), salt))
    else:
        key_file = pathlib.Path(sys.argv[2])
        uvicorn.run(application(json.loads(pathlib.Path(sys.argv[1]).read_text()), base64.b64decode(key_file.read_text()),
                                key_file.stem), host="127.0.0.1", port=int(sys.argv[3]) if len(sys.argv) > 3 else 8080)
