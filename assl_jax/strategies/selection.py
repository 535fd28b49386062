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

    The model: true values are normal about a common mean, scores are normal about the true values.
    The mean has a flat prior. The result is averaged over the standard deviation t between
    networks, whose prior is that of DuMouchel 1994, s / (s + t)^2: it is as likely above as below
    the noise s of a difference.

    Args:
      scores: one for each network; a higher one is better.
      covariance: of the scores' errors.
    """
    k = len(scores)
    if k == 1:
        error = np.sqrt(np.diag(covariance))
        return Posterior(scores, error, scores[None], np.ones(1))
    noise = np.sqrt(max(np.trace(_centred(covariance)) / (k - 1), 1e-24))
    quantiles = (np.arange(SPREADS) + 0.5) / SPREADS
    spreads = noise * quantiles / (1 - quantiles)
    half = np.random.default_rng(0).standard_normal((SPREADS, DRAWS // 2, k))
    normal = np.concatenate([half, -half], axis=1)  # so that the draws have the mean
    likelihood, means, draws = [], [], []
    for spread, z in zip(spreads, normal, strict=True):
        log, mean, cov = _given_spread(scores, covariance, spread)
        likelihood.append(log)
        means.append(mean)
        draws.append(mean + z @ _root(cov))
    weights = np.exp(np.array(likelihood) - max(likelihood))
    weights /= weights.sum()
    mean, each = weights @ np.array(means), np.concatenate(draws)
    of_each = np.repeat(weights / DRAWS, DRAWS)
    error = np.sqrt(of_each @ (each - mean) ** 2)
    return Posterior(mean, error, each, of_each)


def _given_spread(
    scores: Float[np.ndarray, " k"], covariance: Float[np.ndarray, "k k"], spread: float
) -> tuple[float, Float[np.ndarray, " k"], Float[np.ndarray, "k k"]]:
    """For one spread between networks: its log likelihood, and the estimates' mean and covariance.

    The common mean is integrated out of all three.
    """
    k, variance = len(scores), spread**2
    total = covariance + variance * np.eye(k)
    inverse = np.linalg.inv(total)
    precision = inverse.sum()
    centre = inverse.sum(0) @ scores / precision
    off = scores - centre
    _, log_det = np.linalg.slogdet(total)
    log = -0.5 * (log_det + np.log(precision) + off @ inverse @ off)
    kept = variance * inverse  # the share of a deviation that is no noise
    rest = (np.eye(k) - kept).sum(1)
    return (
        float(log),
        centre + kept @ off,
        variance * (np.eye(k) - kept) + np.outer(rest, rest) / precision,
    )


def _centred(covariance: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """The covariance of the differences from the mean of all."""
    k = len(covariance)
    project = np.eye(k) - 1 / k
    return project @ covariance @ project


def _root(covariance: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """A matrix whose product with normal rows has this covariance; it may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
