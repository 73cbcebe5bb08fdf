"""A plain file server, as hosts of static pages are."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for every thread, and no socket stays open

    def __init__(self, folder: Path):
        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, format, *args):
                pass

        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.folder, self.url = folder, f"http://127.0.0.1:{self.server_port}/"

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.shutdown()
        self.thread.join()
        self.server_close()
