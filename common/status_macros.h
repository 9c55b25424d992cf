// Early return on error, as Abseil's own macros do in later releases than Debian 12 carries (20220623).
#ifndef LONGTAKE_COMMON_STATUS_MACROS_H_
#define LONGTAKE_COMMON_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define LT_CONCAT_INNER_(a, b) a##b
#define LT_CONCAT_(a, b) LT_CONCAT_INNER_(a, b)

// RETURN_IF_ERROR(expr): returns expr's status from the enclosing function when it is not OK.
#define RETURN_IF_ERROR(expr)                                                  \
  do {                                                                         \
    if (absl::Status lt_status_ = (expr); !lt_status_.ok()) return lt_status_; \
  } while (false)

// ASSIGN_OR_RETURN(lhs, expr): assigns the value, or returns the status.
#define ASSIGN_OR_RETURN(lhs, expr) ASSIGN_OR_RETURN_IMPL_(LT_CONCAT_(lt_status_or_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                           \
  if (!tmp.ok()) return tmp.status();          \
  lhs = std::move(tmp).value()

#endif  // LONGTAKE_COMMON_STATUS_MACROS_H_
