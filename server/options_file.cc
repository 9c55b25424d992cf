#include "server/options_file.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace longtake::server {
namespace {

// Levenshtein's: how many letters must be put in, taken out or exchanged.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t exchanged = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({exchanged, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

// As TOML has it. CLI11 knows no escapes: text with one kind of quotes stands in the other.
std::string Value(const std::string& text) {
  double number = 0;
  if (text == "true" || text == "false" || absl::SimpleAtod(text, &number)) return text;
  const char* quote = text.find('"') == std::string::npos ? "\"" : "'";
  return absl::StrCat(quote, text, quote);
}

// CLI11 takes what is behind a # for a comment, also within quotes, and leaves the first quote where the second is
// gone.
bool IsCutOff(const std::string& value) {
  return !value.empty() && (value.front() == '"' || value.front() == '\'') &&
         (value.size() == 1 || value.back() != value.front());
}

std::string Values(const std::vector<std::string>& texts) {
  if (texts.size() == 1) return Value(texts.front());
  return absl::StrCat(
      "[", absl::StrJoin(texts, ", ", [](std::string* out, const std::string& text) { *out += Value(text); }), "]");
}

// Nothing: it has none, and means something of its own where it is not set.
std::optional<std::string> DefaultOf(const CLI::Option& option) {
  if (option.get_expected_min() == 0 && option.get_default_str().empty()) return "false";  // a flag
  if (option.get_default_str().empty()) return std::nullopt;
  // CLI11 has a list's default as "[0]".
  const std::string& text = option.get_default_str();
  return text.front() == '[' ? text : Value(text);
}

}  // namespace

std::string NearestOption(const CLI::App& app, const std::string& name, bool of_file) {
  // A third of the letters may be wrong. Beyond that a suggestion misleads.
  size_t least = std::max<size_t>(2, name.size() / 3) + 1;
  std::string nearest;
  for (const CLI::Option* option : app.get_options()) {
    if (of_file && !option->get_configurable()) continue;
    const size_t distance = Distance(name, option->get_single_name());
    if (distance >= least) continue;
    least = distance;
    nearest = option->get_single_name();
  }
  return nearest;
}

std::vector<CLI::ConfigItem> OptionsFile::from_config(std::istream& input) const {
  std::vector<CLI::ConfigItem> items = ConfigBase::from_config(input);
  std::vector<std::string> wrong;
  for (const CLI::ConfigItem& item : items) {
    // CLI11 marks where a section begins and ends by items of these names.
    if (item.name == "++" || item.name == "--") {
      if (item.name == "++") wrong.push_back(absl::StrCat("[", absl::StrJoin(item.parents, "."), "]: has no sections"));
      continue;
    }
    const CLI::Option* option = item.parents.empty() ? app_->get_option_no_throw("--" + item.name) : nullptr;
    if (option == nullptr || !option->get_configurable()) {
      const std::string nearest = NearestOption(*app_, item.name, /*of_file=*/true);
      wrong.push_back(absl::StrCat(item.fullname(), ": is no option of a file",
                                   nearest.empty() ? "" : absl::StrCat("; ", nearest, " is the nearest")));
    } else if (!of_file_.insert(option).second) {
      wrong.push_back(absl::StrCat(item.name, ": is there twice"));
    } else if (std::any_of(item.inputs.begin(), item.inputs.end(), IsCutOff)) {
      wrong.push_back(absl::StrCat(item.name, ": its quotes do not end; a # begins a comment within quotes too"));
    }
  }
  if (!wrong.empty()) throw CLI::ConfigError(absl::StrJoin(wrong, "\n"));
  // The command line has been read by now, and CLI11 lets it hold.
  for (auto option = of_file_.begin(); option != of_file_.end();) {
    option = (*option)->empty() ? std::next(option) : of_file_.erase(option);
  }
  return items;
}

std::string OptionsFile::SourceOf(const CLI::Option& option) const {
  if (of_file_.contains(&option)) return app_->get_config_ptr()->as<std::string>();
  return "the command line";
}

std::string OptionsFile::to_config(const CLI::App* app, bool /*default_also*/, bool /*write_description*/,
                                   std::string /*prefix*/) const {
  std::string out;
  for (const CLI::Option* option : app->get_options()) {
    if (!option->get_configurable()) continue;
    const std::string& name = option->get_single_name();
    const std::optional<std::string> unset = DefaultOf(*option);
    absl::StrAppend(&out, "# ", option->get_description(), "\n# Default: ", unset.value_or("none"), ".");
    if (!option->empty()) {
      absl::StrAppend(&out, " Set by ", SourceOf(*option), ".\n", name, "=", Values(option->results()), "\n\n");
    } else if (unset.has_value()) {
      absl::StrAppend(&out, "\n", name, "=", *unset, "\n\n");
    } else {
      absl::StrAppend(&out, "\n#", name, "=\n\n");
    }
  }
  return out;
}

}  // namespace longtake::server
