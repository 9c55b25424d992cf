#include "scheduler/device.h"

namespace longtake::scheduler {

void Device::Suspend(SessionId, Done done) { done(absl::UnimplementedError("sessions keep their place")); }
void Device::Resume(SessionId, DeviceId, Done done) { done(absl::UnimplementedError("sessions keep their place")); }

}  // namespace longtake::scheduler
