"""Actions recognised in a user's own videos."""

from r21d_lib.prediction.prediction import Answer, Prediction
from r21d_lib.prediction.recognizer import FIGURES, Recognizer
