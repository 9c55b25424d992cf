// On a device nobody chooses the order in which threads run, nor how many devices there are: the tests that ask run as
// they come.
#include "tests/cuda/emulation/settings.h"

namespace longtake::emulation {

void Set(const Settings&) {}

}  // namespace longtake::emulation
