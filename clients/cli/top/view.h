// A server at a glance, as lines of text.
#ifndef LONGTAKE_CLIENTS_CLI_TOP_VIEW_H_
#define LONGTAKE_CLIENTS_CLI_TOP_VIEW_H_

#include <string>
#include <vector>

#include "clients/cli/top/sample.h"

namespace longtake::client {

struct ViewSize {
  int columns = 0, rows = 0;  // 0: as many as there is to say
};

// Rates and shares are of the time between the two samples; where `before` is null they are left out. Lines are plain
// ASCII: what a tenant is called cannot move a terminal's cursor.
std::vector<std::string> View(const Sample* before, const Sample& now, ViewSize size);

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_TOP_VIEW_H_
