from .benchmark.benchmark import run_benchmark as run_benchmark
from .engines.base import Answers as Answers
from .engines.base import Engine as Engine
from .engines.choose import open_engine as open_engine
from .export import export_model as export_model
from .pipeline import iterate_predictions as iterate_predictions
from .prediction import Prediction as Prediction
from .quantize import quantize_model as quantize_model
