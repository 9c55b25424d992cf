#include "scheduler/roster.h"

namespace longtake::scheduler {

Roster::Roster(const std::vector<LaneInfo>& infos) {
  for (size_t i = 0; i < infos.size(); ++i) {
    Lane* lane = lanes.emplace_back(std::make_unique<Lane>(LaneId{static_cast<int>(i)}, infos[i])).get();
    devices.resize(std::max(devices.size(), Index(infos[i].device) + 1));
    DeviceState& device = devices[Index(infos[i].device)];
    if (infos[i].role != LaneRole::kDecoder) device.transformer = lane;
    if (infos[i].role != LaneRole::kTransformer) device.decoder = lane;
  }
}

Session* Roster::Find(SessionId id) {
  const auto found = sessions.find(id);
  return found == sessions.end() ? nullptr : &found->second;
}

}  // namespace longtake::scheduler
