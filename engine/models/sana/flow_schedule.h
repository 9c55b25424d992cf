// Noise levels of flow matching: latents are (1 - sigma) x0 + sigma noise.
#ifndef LONGTAKE_ENGINE_MODELS_SANA_FLOW_SCHEDULE_H_
#define LONGTAKE_ENGINE_MODELS_SANA_FLOW_SCHEDULE_H_

#include <cmath>

namespace longtake {

// Shifts the noise level u, in [0, 1].
inline double ShiftedLevel(double u, double shift) { return shift * u / (1.0 + (shift - 1.0) * u); }

// Half of the logarithm of the signal-to-noise ratio, log(1 - sigma) - log(sigma): the time variable of the multistep
// solvers.
inline double LogSnr(double sigma) { return std::log(1.0 - sigma) - std::log(sigma); }

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SANA_FLOW_SCHEDULE_H_
