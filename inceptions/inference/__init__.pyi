from .predict import iterate_predictions as iterate_predictions
from .prediction import Prediction as Prediction
