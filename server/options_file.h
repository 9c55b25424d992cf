// The file that --config names, and all options as such a file.
#ifndef LONGTAKE_SERVER_OPTIONS_FILE_H_
#define LONGTAKE_SERVER_OPTIONS_FILE_H_

#include <CLI/CLI.hpp>
#include <istream>
#include <set>
#include <string>
#include <vector>

namespace longtake::server {

// The one of the app's options whose name is nearest to `name`, without dashes; empty: none is near. `of_file`: of
// those that a file may have.
std::string NearestOption(const CLI::App& app, const std::string& name, bool of_file);

// CLI11's reader and writer of TOML, which also knows where each value came from.
class OptionsFile : public CLI::ConfigBase {
 public:
  // `app` outlives it.
  explicit OptionsFile(const CLI::App* app) : app_(app) {}

  // CLI::ConfigError names every key that is no option, with the nearest one that is, and every key that is there
  // twice: a misspelt key would otherwise leave a default in place unseen.
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;

  // Every option with what it is for, its default, and what has set it. It can be read back. The arguments are CLI11's,
  // and change nothing.
  std::string to_config(const CLI::App* app, bool default_also, bool write_description,
                        std::string prefix) const override;

 private:
  std::string SourceOf(const CLI::Option& option) const;

  const CLI::App* const app_;
  mutable std::set<const CLI::Option*> of_file_;  // the interface has from_config const
};

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_OPTIONS_FILE_H_
