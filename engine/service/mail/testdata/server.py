"""A mail server, as aiosmtpd makes one: MODE is starttls, tls or clear. It writes its port, and each message as a line."""
import asyncio
import base64
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode, certificate, key, login = sys.argv[1:]


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        local = address.partition("@")[0]
        if local == "nobody":
            return "550 5.1.1 no such user, and a secret text"
        if local == "later":
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None or mode == "tls",
            "login": session.auth_data, "content": base64.b64encode(envelope.content).decode(),
        }), flush=True)
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login == b"service" and data.password == b"pass word"
    return AuthResult(success=good, handled=False, auth_data="service")


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
options = {}
if mode == "starttls":
    options.update(tls_context=context, require_starttls=True)
if login == "login":
    options.update(authenticator=authenticate, auth_required=True, auth_require_tls=mode == "starttls")


async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), **options), "127.0.0.1", 0, ssl=context if mode == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # until the test ends


asyncio.run(serve())
