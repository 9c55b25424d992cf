// Private to scheduler/: who asks, what they have had, and what they are entitled to.
#ifndef LONGTAKE_SCHEDULER_TENANTS_H_
#define LONGTAKE_SCHEDULER_TENANTS_H_

#include <list>
#include <map>
#include <string>
#include <vector>

#include "scheduler/request.h"

namespace longtake::scheduler {

// Tenants share the time that is left to offline work by weight. A tenant is remembered while it has requests, and
// those with a configured weight for good; of the others the least recent is forgotten when too many are idle.
class Tenants {
 public:
  struct Tenant {
    std::string name;
    double weight = 1;
    double time = 0;  // offline device seconds over weight; moved up to the others' where it was idle
    double device_seconds = 0;
    int live = 0, offline = 0;  // requests
  };

  explicit Tenants(std::map<std::string, double> weights) : weights_(std::move(weights)) {}

  // One more request of the tenant; its number until the request is removed.
  int Add(const std::string& name, Delivery delivery);
  void Remove(int tenant, Delivery delivery);
  // Passes begin with what they are predicted to take, so that their tenant does not look idle until they are done, and
  // end with what they took.
  void Begin(int tenant, Delivery delivery, double predicted);
  void End(int tenant, Delivery delivery, double predicted, double device_seconds);

  const Tenant& at(int tenant) const { return tenants_[tenant]; }
  int live(const std::string& name) const;  // requests of that tenant
  std::map<std::string, double> device_seconds() const;

 private:
  const std::map<std::string, double> weights_;
  std::vector<Tenant> tenants_;  // by number; forgotten ones' numbers are given to others
  std::map<std::string, int> numbers_;
  std::list<int> idle_;  // of those without a configured weight, the least recent first
  std::vector<int> free_;
};

}  // namespace longtake::scheduler

#endif  // LONGTAKE_SCHEDULER_TENANTS_H_
