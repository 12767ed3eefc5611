"""HTTPS as any client speaks it.

`tls.py make FOLDER` writes a certificate for 127.0.0.1, its key, and the authority that has signed it.
`tls.py get URL AUTHORITY TOKEN` prints status and version of TLS as JSON; certificates of others are refused.
"""

import json
import pathlib
import socket
import ssl
import sys
import urllib.parse

import trustme


def make(folder):
    folder = pathlib.Path(folder)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "certificate.pem").write_bytes(b"".join(p.bytes() for p in certificate.cert_chain_pems))


def get(url, authority, token):
    parts = urllib.parse.urlsplit(url)
    context = ssl.create_default_context(cafile=authority)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=parts.hostname) as stream:
            head = f"GET {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
            stream.sendall(head.encode())
            answer = b"".join(iter(lambda: stream.recv(65536), b""))
            print(json.dumps([int(answer.split(b" ", 2)[1]), stream.version()]))


{"make": make, "get": get}[sys.argv[1]](*sys.argv[2:])
