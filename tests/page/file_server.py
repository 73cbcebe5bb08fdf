"""Servers of tests, each in a thread; and a plain file server, as hosts of static pages are."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer


class ThreadedServer(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for every thread, and no socket stays open

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def server_bind(self):
        TCPServer.server_bind(self)  # HTTPServer's own looks the name of the host up, which may take long
        self.server_name, self.server_port = self.server_address[:2]

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


class Server(ThreadedServer):
    def __init__(self, folder: Path):
        super().__init__(partial(_Handler, directory=str(folder)))
        self.folder = folder
