// What an operator may say about the policy.
#ifndef LONGTAKE_SERVER_POLICY_POLICY_OPTIONS_H_
#define LONGTAKE_SERVER_POLICY_POLICY_OPTIONS_H_

#include <string>

#include "absl/time/time.h"

namespace longtake::server {

// One of `service` and `rules`, or none: then everything may be made.
struct PolicyOptions {
  std::string service;      // address of a longtake.policy.v1.PolicyService, as gRPC has them
  std::string authorities;  // of its certificate, PEM; empty: the connection is plain text
  std::string rules;        // a file that RuleTable describes
  // Of one question, with all attempts to connect. A viewer waits for so long at worst before it learns that it must
  // try again, and a service that looks a prompt up or asks a small model answers in less.
  absl::Duration timeout = absl::Seconds(2);
  // What nobody could be asked about is made. Not by default: whoever has a policy must not lose it unseen because a
  // service is down.
  bool fail_open = false;
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_POLICY_POLICY_OPTIONS_H_
