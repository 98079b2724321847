"""The program around the stages: the handshake with the host, the control service, and the end (PROTOCOL.md, "Start")."""

from __future__ import annotations

import base64
import datetime
import os
import re
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Callable, NoReturn

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import attach
from . import control_pb2 as pb
from .fault import Fault, fault_of
from .session import Session
from .setting import spec_of

COOKIE = "b5d3a8f0-stage"
CORE_VERSION = 1  # of go-plugin's handshake
PROTOCOL_VERSION = 1  # of the control service and the data
MOST_MESSAGE = 16 << 20
LAST_WORDS = 9.0  # seconds that this process outlives its host at most
THREADS = 8  # Start takes one; the other calls are short


def serve(*stages: type, name: str, version: str, network: bool = False) -> NoReturn:
    """Serves the host until it is done: the last line of a plugin's program.

    name is the plugin's in plugins.lock, version a semantic version; network asks for the network, which whoever
    installs the plugin may grant.
    """
    for cls in stages:
        if not hasattr(cls, "manifest"):
            raise TypeError(f"{cls.__name__} is no stage: it needs a decorator, such as @filter")
    env = os.environ
    run = attach.attach(env[attach.PATH], name) if env.get(attach.PATH) else None
    if env.get("CIPHERSTREAM_PLUGIN") != COOKIE:
        print(f"{name} is a CipherStream plugin (version {version}). It is started by cipherstream, not by hand.", file=sys.stderr)
        sys.exit(2)
    client = env.get("PLUGIN_CLIENT_CERT", "")
    if not client:
        print("the host has sent no certificate, so nobody can be let in", file=sys.stderr)
        sys.exit(1)
    # Who ends a service signals all its processes; the host decides what that means. A handler, unlike SIG_IGN, is not inherited.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, lambda *_: None)
    session = Session(stages)
    if run is None:
        _watch_lifeline(env.get("CIPHERSTREAM_LIFELINE", ""), session)
    else:
        attach.interruptible()
        _watch(partial(run.recv, 1), partial(_leave, name), session)
    over = threading.Event()
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[
        ("grpc.max_receive_message_length", MOST_MESSAGE), ("grpc.max_send_message_length", MOST_MESSAGE), ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_plugin_service(stages, name, version, network, session), _controller(over)))
    key, pem, der = _identity()
    credentials = grpc.ssl_server_credentials([(key, pem)], root_certificates=client.encode(), require_client_auth=True)
    path = os.path.join(tempfile.mkdtemp(prefix="p-", dir=env.get("PLUGIN_UNIX_SOCKET_DIR") or env.get("TMPDIR")), "s")
    if not server.add_secure_port("unix:" + path, credentials):
        print("the control socket cannot be made", file=sys.stderr)
        sys.exit(1)
    server.start()
    certificate = base64.b64encode(der).decode().rstrip("=")
    handshake = "|".join((str(CORE_VERSION), str(PROTOCOL_VERSION), "unix", path, "grpc", certificate))
    if run is None:
        print(handshake, flush=True)
    else:
        run.sendall(f"{handshake}\n".encode())
    over.wait()
    session.end(1.0)
    server.stop(0.5).wait(1.0)
    if run is not None:
        _leave(name)
    sys.stdout.flush()
    os._exit(0)  # whatever threads the stages have left


_leaving = threading.Lock()  # taken once, and never given back


def _leave(name: str) -> None:
    """Ends a process that was attached, whatever a debugger still holds."""
    _leaving.acquire()
    print(f"{name}: the run has ended", file=sys.stderr, flush=True)
    os._exit(0)


def _watch_lifeline(descriptor: str, session: Session) -> None:
    """Ends this process when the host is gone: the descriptor is a pipe on which nothing is ever written."""
    if not re.fullmatch(r"[0-9]{1,4}", descriptor) or int(descriptor) < 3:
        return
    fd = int(descriptor)
    os.set_inheritable(fd, False)
    _watch(partial(os.read, fd, 1), partial(os._exit, 3), session)


def _watch(read: Callable[[], bytes], leave: Callable[[], object], session: Session) -> None:
    """Ends what a run has begun, and the process, at the end of what is read: the host is gone."""
    def watch() -> None:
        try:
            while read():
                pass
        except OSError:
            pass
        session.end(LAST_WORDS)
        leave()
    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def _identity() -> tuple[bytes, bytes, bytes]:
    """A key and a certificate for this one connection: PEM, PEM, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256()))
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return text, certificate.public_bytes(serialization.Encoding.PEM), certificate.public_bytes(serialization.Encoding.DER)


def _unary(call: Callable[[Any], Any], request: Any, response: Any) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(lambda r, _: call(r), request_deserializer=request.FromString,
                                               response_serializer=response.SerializeToString)


def _plugin_service(stages: Any, name: str, version: str, network: bool, session: Session) -> grpc.GenericRpcHandler:
    def describe(_: pb.DescribeRequest) -> pb.DescribeResponse:
        manifests = [s.manifest for s in stages]
        return pb.DescribeResponse(name=name, version=version, network=network, link_words=True, stages=[
            pb.StageManifest(kind=m.kind, name=m.name, summary=m.summary, doc=m.doc, shape_in=m.shape_in, shape_out=m.shape_out,
                             keeps_rows=m.keeps_rows, spec=spec_of(m.settings)) for m in manifests])

    def open_(request: pb.OpenRequest) -> pb.OpenResponse:
        fault = _fault(lambda: session.open(request))
        return pb.OpenResponse(fault=fault)

    def start(_: pb.StartRequest, context: grpc.ServicerContext) -> Any:
        context.add_callback(session.cancel)  # harmless when it has ended well
        yield from session.start(context.is_active)

    def commit(_: pb.CommitRequest) -> pb.CommitResponse:
        try:
            r = session.commit()
        except Fault as f:
            return pb.CommitResponse(fault=f.message_of())
        return pb.CommitResponse(receipt=pb.Receipt(bytes=r.bytes, sha256=r.sha256, location=r.location, link=r.link,
                                                    link_expires=r.link_expires))

    def cancel(_: pb.CancelRequest) -> pb.CancelResponse:
        session.cancel()
        return pb.CancelResponse()

    def acknowledge(request: pb.AcknowledgeRequest) -> pb.AcknowledgeResponse:
        session.acknowledge(request.id)
        return pb.AcknowledgeResponse()

    def undo(request: pb.UndoRequest) -> pb.UndoResponse:
        return pb.UndoResponse(outcomes=[pb.UndoOutcome(fault=f.message_of() if f else None) for f in session.undo(request)])

    return grpc.method_handlers_generic_handler("cipherstream.plugin.v1.Plugin", {
        "Describe": _unary(describe, pb.DescribeRequest, pb.DescribeResponse),
        "Check": _unary(session.check, pb.CheckRequest, pb.CheckResponse),
        "Open": _unary(open_, pb.OpenRequest, pb.OpenResponse),
        "Start": grpc.unary_stream_rpc_method_handler(start, request_deserializer=pb.StartRequest.FromString,
                                                      response_serializer=pb.Event.SerializeToString),
        "Commit": _unary(commit, pb.CommitRequest, pb.CommitResponse),
        "Cancel": _unary(cancel, pb.CancelRequest, pb.CancelResponse),
        "Acknowledge": _unary(acknowledge, pb.AcknowledgeRequest, pb.AcknowledgeResponse),
        "Undo": _unary(undo, pb.UndoRequest, pb.UndoResponse),
    })


def _fault(call: Callable[[], None]) -> pb.Fault | None:
    try:
        call()
    except Exception as e:
        return fault_of(e).message_of()
    return None


def _controller(over: threading.Event) -> grpc.GenericRpcHandler:
    def shutdown(_: bytes, __: grpc.ServicerContext) -> bytes:
        over.set()
        return b""  # an empty message
    return grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)})
