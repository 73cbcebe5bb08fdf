from .predict import Prediction as Prediction
