// What is wrong with files of the store that are whole. A checksum finds damage, and not what another version of the
// server, or another program, has written.
#ifndef LONGTAKE_SERVER_VIDEO_STORED_FAULTS_H_
#define LONGTAKE_SERVER_VIDEO_STORED_FAULTS_H_

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "server/video/event.h"
#include "server/video/request.h"

namespace longtake::server {

// Whether all numbers are whole but those of fields that have fractions: the library makes an int of any number, and a
// double beyond an int's range has no meaning as one. `field`: whose value it is.
bool HasWholeNumbers(const nlohmann::json& value, absl::string_view field = {});

// Nothing where blocks, prompts and times of the plan fit each other, as all who use a plan rely on.
std::optional<std::string> FaultOf(const VideoPlan& plan);

// Whether an event may be one of this block's.
bool IsOfBlock(const Recorded& event, int block);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_STORED_FAULTS_H_
