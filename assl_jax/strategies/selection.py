"""Which network is best, and how sure that is: pure functions of scores."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

SPREADS = 40  # standard deviations between networks that are considered
DRAWS = 500  # of the posterior, for each of them


@dataclasses.dataclass(frozen=True)
class Posterior:
    """What scores tell of networks' true values. A higher value is better.

    Attributes:
      mean: `[k]` the estimates.
      error: `[k]` their standard deviations.
      draws: `[m, k]` possible true values of all networks.
      weights: `[m]` how likely each draw is; they add up to 1.
    """

    mean: Float[np.ndarray, " k"]
    error: Float[np.ndarray, " k"]
    draws: Float[np.ndarray, "m k"]
    weights: Float[np.ndarray, " m"]

    @property
    def best(self) -> int:
        """The network with the highest estimate; the first of equal ones."""
        return int(self.mean.argmax())

    @property
    def probabilities(self) -> Float[np.ndarray, " k"]:
        """The probability of each network that its true value is the highest."""
        return np.bincount(self.draws.argmax(1), self.weights, minlength=len(self.mean))

    def gain(self, networks: Bool[np.ndarray, " k"], over: int) -> float:
        """How much better the best of some networks is expected to be than another one.

        A draw in which none of them is better counts as 0: the other one would be kept.

        Args:
          networks: which ones, at least one.
          over: the other network.
        """
        better = self.draws[:, networks].max(1) - self.draws[:, over]
        return float(self.weights @ np.maximum(better, 0))


def posterior(scores: Float[np.ndarray, " k"], covariance: Float[np.ndarray, "k k"]) -> Posterior:
    """Estimates that are shrunk towards the mean of all networks.

    The best of many noisy scores is too good by luck. Its estimate is therefore nearer to the
    common mean, the nearer the larger the noise is compared with the spread between networks. A
    noise that all scores share, as that of hard images, shrinks nothing.

    The model: true values are normal about a common mean, scores are normal about the true values,
    with independent errors whose variances are those of the scores' differences from their mean.
    (With all correlations the common mean would lie outside of the scores, because worse networks
    are noisier.) The mean has a flat prior. The result is averaged over the standard deviation t
    between networks, whose prior is that of DuMouchel 1994, s / (s + t)^2: it is as likely above as
    below the noise s of a difference.

    Args:
      scores: one for each network; a higher one is better.
      covariance: of the scores' errors.
    """
    k = len(scores)
    if k == 1:
        return Posterior(scores, np.sqrt(np.diag(covariance)), scores[None], np.ones(1))
    noise = np.maximum(np.diag(_centred(covariance)) * k / (k - 1), 1e-24)
    quantiles = (np.arange(SPREADS) + 0.5) / SPREADS
    spreads = np.sqrt(noise.mean()) * quantiles / (1 - quantiles)
    half = np.random.default_rng(0).standard_normal((SPREADS, DRAWS // 2, k + 1))
    normal = np.concatenate([half, -half], axis=1)  # so that the draws have the mean
    each = [_given_spread(scores, noise, *some) for some in zip(spreads, normal, strict=True)]
    likelihood = np.array([log for log, _, _ in each])
    weights = np.exp(likelihood - likelihood.max())
    weights /= weights.sum()
    mean = weights @ np.array([means for _, means, _ in each])
    draws, of_each = np.concatenate([d for _, _, d in each]), np.repeat(weights / DRAWS, DRAWS)
    return Posterior(mean, np.sqrt(of_each @ (draws - mean) ** 2), draws, of_each)


def _given_spread(
    scores: Float[np.ndarray, " k"],
    noise: Float[np.ndarray, " k"],
    spread: float,
    normal: Float[np.ndarray, "m k+1"],
) -> tuple[float, Float[np.ndarray, " k"], Float[np.ndarray, "m k"]]:
    """For one spread between networks: its log likelihood, the estimates, and draws.

    The common mean is integrated out of all three.
    """
    precision = 1 / (spread**2 + noise)
    centre = precision @ scores / precision.sum()
    off = scores - centre
    log = np.log(precision).sum() - np.log(precision.sum()) - precision @ off**2
    kept = spread**2 * precision  # the share of a deviation that is no noise
    mean = centre + kept * off
    own = spread * np.sqrt(1 - kept) * normal[:, 1:]
    common = (1 - kept) * normal[:, :1] / np.sqrt(precision.sum())
    return float(log) / 2, mean, mean + own + common


def _centred(covariance: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """The covariance of the differences from the mean of all."""
    k = len(covariance)
    project = np.eye(k) - 1 / k
    return project @ covariance @ project
