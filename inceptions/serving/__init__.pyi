from .app import create_app as create_app
from .models import Models as Models
from .server import serve as serve
from .settings import Settings as Settings
