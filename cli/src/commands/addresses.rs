//! `fluidcloud addresses RELOCATION`: which address became which, for other programs.

use crate::addresses;
use crate::api::Api;
use crate::args::AddressesArgs;
use crate::config::Config;
use crate::fault::Fault;
use crate::output;
use crate::report;

pub async fn run(config: &Config, told: &AddressesArgs) -> Result<(), Fault> {
    let report = report::of(&Api::new(config)?.relocation(told.id).await?);
    if report.instances.is_empty() {
        return Err(Fault::failed(
            format!("relocation {} runs nothing at a target", told.id),
            format!("see how it stands with `fluidcloud status {}`", told.id),
        ));
    }
    output::line(addresses::text(&report, told.format)?)
}
