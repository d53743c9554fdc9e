"""Scientific Python: linear algebra, a transform, statistics, and a classifier, all printed to the bit."""

import numpy as np
from scipy import fft, linalg, stats
from sklearn.linear_model import LogisticRegression

chance = np.random.default_rng(7)
matrix = chance.normal(size=(24, 24))
print([value.hex() for value in linalg.eigvalsh(matrix @ matrix.T)[:3].tolist()])
print(float(np.linalg.det(matrix)).hex(), float(np.abs(fft.fft(matrix[0]))[3]).hex())
print(float(stats.ttest_ind(matrix[0], matrix[1] + 0.3).pvalue).hex())
labels = (matrix[:, 0] + matrix[:, 1] > 0).astype(int)
model = LogisticRegression().fit(matrix, labels)
print([value.hex() for value in model.coef_[0][:3].tolist()], model.score(matrix, labels))
