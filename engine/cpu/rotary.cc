#include "engine/cpu/rotary.h"

#include <algorithm>
#include <cmath>
#include <exception>

#include "absl/strings/str_cat.h"
#include "engine/ops/check.h"

namespace longtake::cpu {

RotaryTable::RotaryTable(Form form, int width, float theta) : form(form), width(width), theta(theta), factors_(width) {
  for (int i = 0; i < width; ++i) {
    // For kHalves the frequency is rounded to float32, as the reference does.
    factors_[i] = form == Form::kPairs
                      ? std::pow(double{theta}, static_cast<double>(i / 2 * 2) / width)
                      : static_cast<float>(1.0 / std::pow(double{theta}, static_cast<double>(i) / width));
  }
}

void RotaryTable::Grow(int64_t positions) {
  if (positions <= positions_) return;
  cosines_.resize(positions * width);
  sines_.resize(positions * width);
  for (int64_t p = positions_; p < positions; ++p) {
    for (int i = 0; i < width; ++i) {
      const int64_t at = p * width + i;
      // For kHalves the angle is rounded to float32, too.
      const double angle = form == Form::kPairs ? static_cast<double>(p) / factors_[i]
                                                : static_cast<float>(p) * static_cast<float>(factors_[i]);
      const bool negated = form == Form::kPairs && i % 2 == 0;
      cosines_[at] = static_cast<float>(std::cos(angle));
      sines_[at] = static_cast<float>(negated ? -std::sin(angle) : std::sin(angle));
    }
  }
  positions_ = positions;
}

absl::Status RotaryTables::Reserve() {
  try {
    for (const auto& entry : entries_) entry->table.Grow(entry->planned);
  } catch (const std::exception&) {  // bad_alloc, or length_error if a vector cannot be that large
    return absl::ResourceExhaustedError(
        absl::StrCat("scratch: the ", planned_.load(), " bytes of rotary positions' tables"));
  }
  reserved_ = true;
  return absl::OkStatus();
}

const RotaryTable& RotaryTables::Find(RotaryTable::Form form, int width, float theta, int64_t positions) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const auto& e) {
    return e->table.form == form && e->table.width == width && e->table.theta == theta;
  });
  Require(found != entries_.end() || !reserved_, "Scratch", "rotary positions' tables are planned");
  Entry& entry = found != entries_.end()
                     ? **found
                     : *entries_.emplace_back(std::make_unique<Entry>(Entry{.table = {form, width, theta}}));
  int64_t& most = planning_ ? entry.planned : entry.used;
  if (positions > most) {
    (planning_ ? planned_ : used_) += (positions - most) * entry.table.row_bytes();
    most = positions;
  }
  if (!planning_) {
    Require(positions <= entry.table.positions() || !reserved_, "Scratch",
            "rotary positions lie within the planned ones");
    entry.table.Grow(positions);
  }
  return entry.table;
}

}  // namespace longtake::cpu
