// What the declarations of this module speak of: whoever imports it, to write a handler for example, has these, too.
@_exported public import Handover
@_exported public import Platform
@_exported public import SystemPackage
