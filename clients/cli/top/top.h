// `longtake top`: a server at a glance, again each second.
#ifndef LONGTAKE_CLIENTS_CLI_TOP_TOP_H_
#define LONGTAKE_CLIENTS_CLI_TOP_TOP_H_

#include <string>

namespace longtake::client {

struct TopFlags {
  std::string metrics = "http://127.0.0.1:9090";  // the address of the server's --metrics-listen
  std::string token_file, token;                  // as ServerFlags'
  double interval = 1;                            // seconds
  bool once = false;
};

// To a terminal it draws over what it drew before, in the size that the window has by then; else it writes one view
// after the other. Ends with 0 by Ctrl-C, or after one view.
int Top(const TopFlags& flags);

}  // namespace longtake::client

#endif  // LONGTAKE_CLIENTS_CLI_TOP_TOP_H_
