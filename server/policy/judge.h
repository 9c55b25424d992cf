// Who decides what may be made.
#ifndef LONGTAKE_SERVER_POLICY_JUDGE_H_
#define LONGTAKE_SERVER_POLICY_JUDGE_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/video/policy.h"

namespace longtake::server {

struct Verdict {
  bool allowed = false;
  std::string category, message;  // of a refusal; as the judge has them
};

// Thread-safe.
class Judge {
 public:
  using Done = std::function<void(const absl::StatusOr<Verdict>&)>;

  // Where it has called every `done`.
  virtual ~Judge() = default;
  // Calls `done` once, in this call or later and from any thread. An error: there is no verdict; its message says
  // nothing of the question.
  virtual void Ask(PolicyQuestion question, Done done) = 0;
  // What has been asked is answered soon, if with an error.
  virtual void Cancel() {}
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_POLICY_JUDGE_H_
