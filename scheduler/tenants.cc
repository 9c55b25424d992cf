#include "scheduler/tenants.h"

#include <algorithm>
#include <limits>

#include "scheduler/tuning.h"

namespace longtake::scheduler {

int Tenants::Add(const std::string& name, Delivery delivery) {
  const auto [found, added] = numbers_.emplace(name, static_cast<int>(tenants_.size()));
  if (added) {
    if (free_.empty()) {
      tenants_.emplace_back();
    } else {
      found->second = free_.back();
      free_.pop_back();
    }
    const auto weight = weights_.find(name);
    tenants_[found->second] = {.name = name, .weight = weight == weights_.end() ? 1 : weight->second};
  }
  const int number = found->second;
  Tenant& tenant = tenants_[number];
  if (tenant.live + tenant.offline == 0) idle_.remove(number);
  if (delivery == Delivery::kLive) {
    ++tenant.live;
  } else if (tenant.offline++ == 0) {
    // The time in which a tenant asked for nothing is not saved up.
    double least = std::numeric_limits<double>::infinity();
    for (const Tenant& other : tenants_) {
      if (&other != &tenant && other.offline > 0) least = std::min(least, other.time);
    }
    if (least < std::numeric_limits<double>::infinity()) tenant.time = std::max(tenant.time, least);
  }
  return number;
}

void Tenants::Remove(int number, Delivery delivery) {
  Tenant& tenant = tenants_[number];
  --(delivery == Delivery::kLive ? tenant.live : tenant.offline);
  if (tenant.live + tenant.offline > 0 || weights_.contains(tenant.name)) return;
  idle_.push_back(number);
  if (idle_.size() <= tuning::kIdleTenants) return;
  const int forgotten = idle_.front();
  idle_.pop_front();
  numbers_.erase(tenants_[forgotten].name);
  free_.push_back(forgotten);
}

void Tenants::Begin(int number, Delivery delivery, double predicted) {
  if (delivery == Delivery::kOffline) tenants_[number].time += predicted / tenants_[number].weight;
}

void Tenants::End(int number, Delivery delivery, double predicted, double device_seconds) {
  Tenant& tenant = tenants_[number];
  tenant.device_seconds += device_seconds;
  if (delivery == Delivery::kOffline) tenant.time += (device_seconds - predicted) / tenant.weight;
}

int Tenants::live(const std::string& name) const {
  const auto found = numbers_.find(name);
  return found == numbers_.end() ? 0 : tenants_[found->second].live;
}

std::map<std::string, double> Tenants::device_seconds() const {
  std::map<std::string, double> out;
  for (const auto& [name, number] : numbers_) out[name] = tenants_[number].device_seconds;
  return out;
}

}  // namespace longtake::scheduler
