from . import data as data
from . import errors as errors
from . import evaluation as evaluation
from . import explain as explain
from . import inference as inference
from . import networks as networks
from . import serving as serving
from . import studies as studies
from . import training as training
from . import weights as weights
from .explain.attribution import explain_image as explain_image
from .inference.evaluate import evaluate as evaluate
from .inference.predict import predict as predict
from .inference.prediction import Prediction as Prediction
from .networks.describe import describe as describe
from .networks.drawing.page import draw as draw
from .networks.registry import get_network as get_network
from .networks.registry import list_models as list_models
from .networks.spec import Network as Network
from .weights.folder import LoadedModel as LoadedModel
from .weights.folder import save_model as save_model
from .weights.importer import import_tensors as import_tensors
from .weights.published import create_model as create_model
from .weights.published import load_model as load_model
from .weights.published import push_model as push_model

__version__: str
