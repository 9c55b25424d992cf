// Whether what a request asks for may be made at all.
#ifndef LONGTAKE_SERVER_VIDEO_POLICY_H_
#define LONGTAKE_SERVER_VIDEO_POLICY_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "server/video/request.h"
#include "server/video/tenant.h"

namespace longtake::server {

enum class PolicyPurpose { kCreate, kFork, kChangePrompt };

struct PolicyQuestion {
  PolicyPurpose purpose = PolicyPurpose::kCreate;
  Tenant tenant;
  VideoSpec spec;     // with all prompts that it would show; of kChangePrompt the video's, with the new prompt alone
  std::string video;  // "videos/{id}": that is forked, or whose prompt would change
};

// Asked of requests that are right, before anything of them is kept. Thread-safe.
class Policy {
 public:
  virtual ~Policy() = default;
  // Calls `done` once, in this call or later and from any thread, and waits for nothing. OK, or POLICY_REFUSED,
  // POLICY_UNAVAILABLE or SHUTTING_DOWN.
  virtual void Ask(PolicyQuestion question, std::function<void(const absl::Status&)> done) = 0;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_VIDEO_POLICY_H_
