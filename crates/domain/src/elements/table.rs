//! The root elements of each type in FHIR R4 (4.0.1), as data.
//!
//! `!` marks an element that every resource has to have (its least number is 1 in the base specification), and
//! brackets hold the types of a choice: `value[Quantity,string]` stands for `valueQuantity` and `valueString`.

use crate::ResourceType;

/// The elements that every type has.
pub(super) const OF_EVERY_TYPE: &str =
    "id meta implicitRules language text contained extension modifierExtension";

/// The elements that a type has besides.
pub(super) fn elements(resource_type: ResourceType) -> &'static str {
    let row = TABLE.iter().find(|(of, _)| *of == resource_type);
    row.map_or("", |(_, elements)| elements)
}

const TABLE: &[(ResourceType, &str)] = &[
    (
        ResourceType::AllergyIntolerance,
        "identifier clinicalStatus verificationStatus type category criticality code patient! \
         encounter onset[dateTime,Age,Period,Range,string] recordedDate recorder asserter \
         lastOccurrence note reaction",
    ),
    (
        ResourceType::CarePlan,
        "identifier instantiatesCanonical instantiatesUri basedOn replaces partOf status! intent! \
         category title description subject! encounter period created author contributor careTeam \
         addresses supportingInfo goal activity note",
    ),
    (
        ResourceType::CareTeam,
        "identifier status category name subject encounter period participant reasonCode \
         reasonReference managingOrganization telecom note",
    ),
    (
        ResourceType::Condition,
        "identifier clinicalStatus verificationStatus category severity code bodySite subject! \
         encounter onset[dateTime,Age,Period,Range,string] \
         abatement[dateTime,Age,Period,Range,string] recordedDate recorder asserter stage \
         evidence note",
    ),
    (
        ResourceType::Coverage,
        "identifier status! type policyHolder subscriber subscriberId beneficiary! dependent \
         relationship period payor! class order network costToBeneficiary subrogation contract",
    ),
    (
        ResourceType::Device,
        "identifier definition udiCarrier status statusReason distinctIdentifier manufacturer \
         manufactureDate expirationDate lotNumber serialNumber deviceName modelNumber partNumber \
         type specialization version property patient owner contact location url note safety \
         parent",
    ),
    (
        ResourceType::DiagnosticReport,
        "identifier basedOn status! category code! subject encounter effective[dateTime,Period] \
         issued performer resultsInterpreter specimen result imagingStudy media conclusion \
         conclusionCode presentedForm",
    ),
    (
        ResourceType::DocumentReference,
        "masterIdentifier identifier status! docStatus type category subject date author \
         authenticator custodian relatesTo description securityLabel content! context",
    ),
    (
        ResourceType::Encounter,
        "identifier status! statusHistory class! classHistory type serviceType priority subject \
         episodeOfCare basedOn participant appointment period length reasonCode reasonReference \
         diagnosis account hospitalization location serviceProvider partOf",
    ),
    (
        ResourceType::Goal,
        "identifier lifecycleStatus! achievementStatus category priority description! subject! \
         start[date,CodeableConcept] target statusDate statusReason expressedBy addresses note \
         outcomeCode outcomeReference",
    ),
    (
        ResourceType::Immunization,
        "identifier status! statusReason vaccineCode! patient! encounter \
         occurrence[dateTime,string]! recorded primarySource reportOrigin location manufacturer \
         lotNumber expirationDate site route doseQuantity performer note reasonCode \
         reasonReference isSubpotent subpotentReason education programEligibility fundingSource \
         reaction protocolApplied",
    ),
    (
        ResourceType::Location,
        "identifier status operationalStatus name alias description mode type telecom address \
         physicalType position managingOrganization partOf hoursOfOperation \
         availabilityExceptions endpoint",
    ),
    (ResourceType::Medication, "identifier code status manufacturer form amount ingredient batch"),
    (
        ResourceType::MedicationDispense,
        "identifier partOf status! statusReason[CodeableConcept,Reference] category \
         medication[CodeableConcept,Reference]! subject context supportingInformation performer \
         location authorizingPrescription type quantity daysSupply whenPrepared whenHandedOver \
         destination receiver note dosageInstruction substitution detectedIssue eventHistory",
    ),
    (
        ResourceType::MedicationRequest,
        "identifier status! statusReason intent! category priority doNotPerform \
         reported[boolean,Reference] medication[CodeableConcept,Reference]! subject! encounter \
         supportingInformation authoredOn requester performer performerType recorder reasonCode \
         reasonReference instantiatesCanonical instantiatesUri basedOn groupIdentifier \
         courseOfTherapyType insurance note dosageInstruction dispenseRequest substitution \
         priorPrescription detectedIssue eventHistory",
    ),
    (
        ResourceType::Observation,
        "identifier basedOn partOf status! category code! subject focus encounter \
         effective[dateTime,Period,Timing,instant] issued performer \
         value[Quantity,CodeableConcept,string,boolean,integer,Range,Ratio,SampledData,time,dateTime,Period] \
         dataAbsentReason interpretation note bodySite method specimen device referenceRange \
         hasMember derivedFrom component",
    ),
    (ResourceType::Organization, "identifier active type name alias telecom address partOf contact endpoint"),
    (
        ResourceType::Patient,
        "identifier active name telecom gender birthDate deceased[boolean,dateTime] address \
         maritalStatus multipleBirth[boolean,integer] photo contact communication \
         generalPractitioner managingOrganization link",
    ),
    (
        ResourceType::Practitioner,
        "identifier active name telecom address gender birthDate photo qualification \
         communication",
    ),
    (
        ResourceType::PractitionerRole,
        "identifier active period practitioner organization code specialty location \
         healthcareService telecom availableTime notAvailable availabilityExceptions endpoint",
    ),
    (
        ResourceType::Procedure,
        "identifier instantiatesCanonical instantiatesUri basedOn partOf status! statusReason \
         category code subject! encounter performed[dateTime,Period,string,Age,Range] recorder \
         asserter performer location reasonCode reasonReference bodySite outcome report \
         complication complicationDetail followUp note focalDevice usedReference usedCode",
    ),
    (
        ResourceType::Provenance,
        "target! occurred[Period,dateTime] recorded! policy location reason activity agent! \
         entity signature",
    ),
    (
        ResourceType::QuestionnaireResponse,
        "identifier basedOn partOf questionnaire status! subject encounter authored author source \
         item",
    ),
    (
        ResourceType::RelatedPerson,
        "identifier active patient! relationship name telecom gender birthDate address photo \
         period communication",
    ),
    (
        ResourceType::ServiceRequest,
        "identifier instantiatesCanonical instantiatesUri basedOn replaces requisition status! \
         intent! category priority doNotPerform code orderDetail quantity[Quantity,Ratio,Range] \
         subject! encounter occurrence[dateTime,Period,Timing] asNeeded[boolean,CodeableConcept] \
         authoredOn requester performerType performer locationCode locationReference reasonCode \
         reasonReference insurance supportingInfo specimen bodySite note patientInstruction \
         relevantHistory",
    ),
    (
        ResourceType::Specimen,
        "identifier accessionIdentifier status type subject receivedTime parent request \
         collection processing container condition note",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_one_row() {
        let types: Vec<_> = TABLE.iter().map(|(of, _)| *of).collect();
        assert_eq!(types, ResourceType::ALL);
    }
}
